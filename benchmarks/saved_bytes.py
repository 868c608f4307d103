"""What the backward pass of a compiled training step reads of the forward pass, from the text of its optimised HLO."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

BACKWARD = "transpose(jvp"
"""In the names of operations that JAX's differentiation made."""
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([a-z][\w\-]*)\((.*)$")
_CALLED = re.compile(r"body=%?([\w.\-]+)|[ }]call\(.*to_apply=%?([\w.\-]+)")
_NOT_COMPUTED = ("parameter", "constant", "iota")
_LARGEST = 5


class Instruction(NamedTuple):
    """A line of HLO: type of the result, opcode, names of the operands, index in a tuple, name of JAX's operation."""

    type: str
    opcode: str
    operands: list[str]
    index: int
    op_name: str


def saved_bytes(text: str) -> dict:
    """Returns the `bytes` that the backward pass reads of the forward pass, their `bfloat16_share`, and the largest.

    Each array counts once, however often it is read. The program's arguments do not count, nor do the insides of
    fusions. `largest_others` are types, shapes and operations of the largest arrays that are not bfloat16.
    """
    arrays = {}
    for name, instructions in _executed(text).items():
        for reader in instructions.values():
            for operand in reader.operands if BACKWARD in reader.op_name else ():
                for array, producer in _origins(operand, instructions, set()):
                    made = instructions[producer]
                    if made.opcode not in _NOT_COMPUTED and BACKWARD not in made.op_name:
                        arrays[name, array] = (instructions[array].type, made.op_name.rpartition("closed_call/")[2])
    sizes = sorted(((_bytes(type), type.partition("{")[0], op) for type, op in arrays.values()), reverse=True)
    total = sum(size for size, _, _ in sizes)
    half = sum(size for size, type, _ in sizes if type.startswith("bf16"))
    others = [f"{type} {op}".strip() for _, type, op in sizes if not type.startswith("bf16")]
    return {"bytes": total, "bfloat16_share": half / total if total else None, "largest_others": others[:_LARGEST]}


def _executed(text: str) -> dict[str, dict[str, Instruction]]:
    """The instructions by name of each computation that is no inside of a fusion or of a reduction."""
    computations: dict[str, dict[str, Instruction]] = {}
    wanted, current = set(), {}
    for line in text.splitlines():
        if match := _COMPUTATION.match(line):
            current = computations[match[2]] = {}
            wanted |= {match[2]} if match[1] else set()
        elif match := _INSTRUCTION.match(line):
            name, type, opcode, rest = match.groups()
            op_name, index = re.search(r'op_name="([^"]*)"', rest), re.search(r"\), index=(\d+)", rest)
            operands = re.findall(r"%([\w.\-]+)", re.split(r", (?:control-predecessors|metadata)=", rest)[0])
            current[name] = Instruction(
                type, opcode, operands, int(index[1]) if index else 0, op_name[1] if op_name else ""
            )
            wanted |= {one for pair in _CALLED.findall(line) for one in pair if one}
    for instructions in computations.values():
        for name, one in instructions.items():
            if one.opcode == "fusion" and not one.op_name:  # those with several results have no name
                inside = [each.op_name for called in one.operands for each in computations.get(called, {}).values()]
                named = sorted(filter(None, inside), key=lambda op_name: BACKWARD not in op_name)
                instructions[name] = one._replace(op_name=named[0] if named else "")
    return {name: computations[name] for name in wanted & computations.keys()}


def _origins(name: str, instructions: dict[str, Instruction], seen: set[str]) -> list[tuple[str, str]]:
    """The arrays that a value comes from, each with what computed it: past what only renames, copies or converts.

    What XLA itself adds to convert or to lay out has no name; it belongs to whatever reads it.
    """
    array = name
    while one := instructions.get(name):
        if one.opcode == "get-tuple-element":
            array, name = name, one.operands[0]
            while instructions[name].opcode == "opt-barrier":
                name = instructions[name].operands[0]
            if instructions[name].opcode != "tuple":
                break
            array = name = instructions[name].operands[one.index]
        elif one.opcode in ("bitcast", "copy", "opt-barrier"):
            array = name = one.operands[0]
        else:
            break
    one = instructions.get(name)
    if one is None:  # a computation's name
        return []
    if one.op_name or one.opcode in _NOT_COMPUTED:
        return [(array, name)]
    fresh = [operand for operand in one.operands if operand not in seen]
    seen.update(fresh)
    return [origin for operand in fresh for origin in _origins(operand, instructions, seen)]


def _bytes(type: str) -> int:
    """The bytes of an array's type, such as "bf16[256,8,8,16]{3,2,1,0}"."""
    match = re.match(r"([a-z]+)(\d*)\w*\[([\d,]*)\]", type)
    if not match:
        return 0
    bits = int(match[2] or 8)  # `pred` takes a byte
    return math.prod(map(int, filter(None, match[3].split(",")))) * bits // 8
