"""Errors of reading and judging figures.

CouldNot
├── SourceUnreadable    no such file, denied, compressed, or in no form that is known
├── MetricAbsent        the source is readable and does not hold the metric; names those that it holds
├── MetricAmbiguous     two metrics stand under the name, told apart by metadata; names them
├── AxisAbsent          the metric is there, but not by the axis that was asked for
├── TrialFailed         a validation run that could not be brought to its end
└── CheckpointRefused   a checkpoint that is broken, hostile, or in a form that is not read
"""

from __future__ import annotations

from backends.errors import CouldNot


class SourceUnreadable(CouldNot):
    code = "source_unreadable"


class MetricAbsent(CouldNot):
    code = "metric_absent"


class MetricAmbiguous(CouldNot):
    code = "metric_ambiguous"


class AxisAbsent(CouldNot):
    code = "axis_absent"


class TrialFailed(CouldNot):
    code = "trial_failed"


class CheckpointRefused(CouldNot):
    code = "checkpoint_refused"
