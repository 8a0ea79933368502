"""One file per method: its update rule and its class."""

from src.optimizers.adabelief import AdaBelief
from src.optimizers.adadelta import AdaDelta
from src.optimizers.adagrad import AdaGrad
from src.optimizers.adam import Adam
from src.optimizers.adamax import AdaMax
from src.optimizers.adamw import AdamW
from src.optimizers.adan import Adan
from src.optimizers.ademamix import AdEMAMix
from src.optimizers.adopt import ADOPT
from src.optimizers.amsgrad import AMSGrad
from src.optimizers.cautious_adamw import CautiousAdamW
from src.optimizers.cautious_lion import CautiousLion
from src.optimizers.lamb import LAMB
from src.optimizers.lion import Lion
from src.optimizers.mars import MARS
from src.optimizers.momentum import Momentum
from src.optimizers.muon import Muon
from src.optimizers.nadam import NAdam
from src.optimizers.nadamw import NAdamW
from src.optimizers.nesterov import Nesterov
from src.optimizers.prodigy import Prodigy
from src.optimizers.radam import RAdam
from src.optimizers.rmsprop import RMSProp
from src.optimizers.sam import SAM, SAMAdamW
from src.optimizers.schedule_free_adamw import ScheduleFreeAdamW
from src.optimizers.schedule_free_sgd import ScheduleFreeSGD
from src.optimizers.sgd import SGD
from src.optimizers.shampoo import Shampoo
from src.optimizers.signum import Signum
from src.optimizers.soap import SOAP

__all__ = [
    "ADOPT",
    "LAMB",
    "MARS",
    "SAM",
    "SGD",
    "SOAP",
    "AMSGrad",
    "AdEMAMix",
    "AdaBelief",
    "AdaDelta",
    "AdaGrad",
    "AdaMax",
    "Adam",
    "AdamW",
    "Adan",
    "CautiousAdamW",
    "CautiousLion",
    "Lion",
    "Momentum",
    "Muon",
    "NAdam",
    "NAdamW",
    "Nesterov",
    "Prodigy",
    "RAdam",
    "RMSProp",
    "SAMAdamW",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "Shampoo",
    "Signum",
]
