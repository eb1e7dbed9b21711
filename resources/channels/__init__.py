"""The notification channels that ship with the platform, one module each; others come as plug-ins, see ``resources.notifier``."""
