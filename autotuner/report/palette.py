"""The colours of the figures by their role; the page's style sheet has them for dark screens."""

from __future__ import annotations

from autotuner.domain.experiment import Arm

CONTROL, TREATMENT = "#c9860c", "#2f78bd"
INK, MUTED, FAINT, PAPER = "#222222", "#6f6f6f", "#d8d8d8", "#ffffff"
# Letters on a bar of the arm's colour.
ON_CONTROL, ON_TREATMENT = "#1b1b1b", "#fefefe"
GOOD, BAD = "#2a7f3f", "#b23a3a"

# Every colour that a drawing uses, by the name of its role in the style sheet.
ROLES = {
    CONTROL: "control",
    TREATMENT: "treatment",
    ON_CONTROL: "on-control",
    ON_TREATMENT: "on-treatment",
    INK: "ink",
    MUTED: "muted",
    FAINT: "faint",
    PAPER: "paper",
    GOOD: "good",
    BAD: "bad",
}
ARM_COLOUR = {Arm.CONTROL: CONTROL, Arm.TREATMENT: TREATMENT}
ON_ARM = {Arm.CONTROL: ON_CONTROL, Arm.TREATMENT: ON_TREATMENT}
ARM_MARKER = {Arm.CONTROL: "o", Arm.TREATMENT: "s"}
