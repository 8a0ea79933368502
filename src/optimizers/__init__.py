"""One file per method: its update rule and its class."""

from src.optimizers.adadelta import AdaDelta
from src.optimizers.adagrad import AdaGrad
from src.optimizers.adam import Adam
from src.optimizers.adamax import AdaMax
from src.optimizers.adamw import AdamW
from src.optimizers.ademamix import AdEMAMix
from src.optimizers.amsgrad import AMSGrad
from src.optimizers.cautious_adamw import CautiousAdamW
from src.optimizers.cautious_lion import CautiousLion
from src.optimizers.lamb import LAMB
from src.optimizers.lion import Lion
from src.optimizers.momentum import Momentum
from src.optimizers.muon import Muon
from src.optimizers.nadam import NAdam
from src.optimizers.nesterov import Nesterov
from src.optimizers.prodigy import Prodigy
from src.optimizers.radam import RAdam
from src.optimizers.rmsprop import RMSProp
from src.optimizers.sam import SAM, SAMAdamW
from src.optimizers.schedule_free_adamw import ScheduleFreeAdamW
from src.optimizers.schedule_free_sgd import ScheduleFreeSGD
from src.optimizers.sgd import SGD

__all__ = [
    "LAMB",
    "SAM",
    "SGD",
    "AMSGrad",
    "AdEMAMix",
    "AdaDelta",
    "AdaGrad",
    "AdaMax",
    "Adam",
    "AdamW",
    "CautiousAdamW",
    "CautiousLion",
    "Lion",
    "Momentum",
    "Muon",
    "NAdam",
    "Nesterov",
    "Prodigy",
    "RAdam",
    "RMSProp",
    "SAMAdamW",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
]
