"""The exceptions that permfc raises for a user's mistake or a device's fault.

Each message is one sentence that names the culprit, the value and the cure; the command line prints it and exits with status 2.
"""


class PermfcError(Exception):
    """Base of every error below."""


class ConfigError(PermfcError, ValueError):
    """An engine configuration, or a network for an engine, is out of its limits."""


class ModelError(PermfcError, ValueError):
    """A trained network or its calibration data cannot be used: wrong shape, NaN, unsupported operator."""


class FormatError(PermfcError, ValueError):
    """A model file or an image is damaged, truncated, or of another version."""


class InputError(PermfcError, ValueError):
    """An input vector has the wrong length, type or range."""


class ClippingWarning(UserWarning):
    """Many input values are beyond what a network was compressed for, and are clipped."""


class DeviceError(PermfcError, RuntimeError):
    """A device reported an error, or did not answer in time."""


class PortError(DeviceError):
    """A port cannot be opened: it does not exist, is taken, or is not the user's to open."""


class LinkError(DeviceError):
    """The link to a device broke: silent, reset or unplugged. The device must be opened again."""


class VersionError(DeviceError):
    """A device and this program are of different versions."""


class ToolError(PermfcError, RuntimeError):
    """A program that a job needs is missing or failed."""
