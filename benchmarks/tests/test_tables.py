"""Tables of architectures: MetaQNN's notation, columns of genes, and files that are no table."""

import numpy as np
import pytest
from tables import parse, read

from jnas import JnasError
from jnas.space import FEATURE_NAMES


def test_read_metaqnn_notation_gives_layers(tmp_path):
    layers = parse("[C(64,5,1), P(3,2), D(1,2), P(5,3), FC(16), SM(10)]")
    assert "".join(layer.name[0] for layer in layers) == "CPDPFS"
    # The last window of a pooling of 3 sticks out: 32 pixels become 16. That of 5 fits: these become 5.
    assert [layer.after for layer in layers] == [(64, 32), (64, 16), (64, 16), (64, 5), (16, 1), (10, 1)]
    assert [layer.macs for layer in layers] == [75 * 64 * 1024, 0, 0, 0, 1600 * 16, 160]
    # The authors count 15 pixels of these 16, and average windows of as many.
    merged = parse("[C(64,5,1), P(3,2), GAP(10), SM(10)]")[2:]
    assert [(layer.name, layer.window, layer.after) for layer in merged] == [
        ("C", 1, (10, 16)),
        ("GAP", 15, (10, 2)),
        ("SM", 1, (10, 1)),
    ]
    assert merged[-1].fan_in == 40
    for wrong in ("[X(64,5,1)]", "[C(64,2,1)]", "[P(2,0)]", "[C(64,5)]", "[P(33,2)]"):
        with pytest.raises(JnasError, match=r"no net.* of MetaQNN"):
            parse(wrong)
    path = tmp_path / "table.csv"
    path.write_text(
        "net,acc_1,acc_20\n"
        '"[C(64,5,1), P(2,2), D(1,2), FC(128), SM(10)]",.3,.5\n'
        '"[C(512,1,1), P(5,3), GAP(10), SM(10)]",.2,.4\n'
    )
    table = read(path, "acc_20", 1)
    assert table.lengths.tolist() == [6, 6] and table.early.tolist() == [[np.float32(0.3)], [np.float32(0.2)]]
    facts, merging = (dict(zip(FEATURE_NAMES, row[:, 32:].T, strict=False)) for row in table.sequences)
    np.testing.assert_allclose(2 ** (5 * facts["height"]), [32, 32, 16, 16, 1, 1], rtol=1e-5)
    np.testing.assert_allclose(2 ** (25 * facts["macs"][[0, 4]]), [75 * 64 * 1024, 64 * 256 * 128], rtol=1e-4)
    np.testing.assert_allclose(2 ** (5 * merging["height"]), [32, 32, 10, 10, 10, 1], rtol=1e-5)
    np.testing.assert_allclose(2 ** (25 * merging["macs"][[3]]), [512 * 10 * 100], rtol=1e-4)
    assert facts["dropout"][3] == 0.25 and table.bits[0].sum(1).tolist() == [4, 1, 3, 1, 2, 1]
    with pytest.raises(JnasError, match="no column 'acc_2'"):
        read(path, "acc_20", 2)
    with pytest.raises(JnasError, match="which is no number"):
        read(path, "net")
    with pytest.raises(JnasError, match="cannot be read as a table"):
        read(tmp_path / "none.csv")
    path.write_text("gene_1,gene_0,reward,test\n0,2,.5,.6\n1,0,.7,.8\n")
    genes = read(path)
    assert genes.scored.tolist() == [0.6, 0.8] and genes.bits[0].argmax(1).tolist() == [2, 0]
