"""False alarms of detectors on text that people wrote: nominal level against realised rate."""
