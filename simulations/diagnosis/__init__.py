"""What holds speed back, with the evidence and what to do about it."""

from adaptive_spec.simulations.diagnosis.diagnosis import Diagnosis, diagnose
from adaptive_spec.simulations.diagnosis.findings import Figure, Finding, Loss, NotJudged
from adaptive_spec.simulations.diagnosis.known import Known
from adaptive_spec.simulations.diagnosis.rivals import Contest, Rivalry, rivalry
from adaptive_spec.simulations.diagnosis.verified import Verified

__all__ = [
    "Contest",
    "Diagnosis",
    "Figure",
    "Finding",
    "Known",
    "Loss",
    "NotJudged",
    "Rivalry",
    "Verified",
    "diagnose",
    "rivalry",
]
