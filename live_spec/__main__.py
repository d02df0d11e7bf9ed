"""``python -m live_spec`` is the command ``live-spec``."""

from live_spec.commands.main import main

if __name__ == "__main__":
    main()
