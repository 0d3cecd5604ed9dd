"""`dcpt check-device` as a script of the repository; see dcpt_tools/measuring/check_device.py."""

from dcpt_tools.commands import launch

if __name__ == "__main__":
    launch("measuring.check_device", "tools/check_device.py")
