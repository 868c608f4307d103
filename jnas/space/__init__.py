"""Layer templates, templates, sampling, bit vectors, genomes and cost. No training code, no Flax."""

from jnas.space.layers import LAYER_TYPES as LAYER_TYPES
from jnas.space.layers import AvgPool2d as AvgPool2d
from jnas.space.layers import BatchNorm2d as BatchNorm2d
from jnas.space.layers import Conv2d as Conv2d
from jnas.space.layers import Cost as Cost
from jnas.space.layers import Dropout as Dropout
from jnas.space.layers import Dropout2d as Dropout2d
from jnas.space.layers import Flatten as Flatten
from jnas.space.layers import GlobalAvgPool2d as GlobalAvgPool2d
from jnas.space.layers import LayerTemplate as LayerTemplate
from jnas.space.layers import LeakyReLU as LeakyReLU
from jnas.space.layers import Linear as Linear
from jnas.space.layers import MaxPool2d as MaxPool2d
from jnas.space.layers import PReLU as PReLU
from jnas.space.layers import ReLU as ReLU
from jnas.space.limits import LimitedSpace as LimitedSpace
from jnas.space.space import Space as Space
from jnas.space.template import Template as Template
