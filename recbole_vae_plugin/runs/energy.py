"""The energy of a run, estimated by CodeCarbon, offline."""

from __future__ import annotations

from typing import Any

TASK = "run"


class EnergyMeter:
    """Estimates the energy of this process between :meth:`start` and :meth:`stop`.

    CodeCarbon reads the counters of processor and GPU where it may, which count the whole machine, and else
    estimates from this process's load and memory. Nothing is written or sent.

    Raises:
        ImportError: CodeCarbon is not installed.
    """

    def __init__(self) -> None:
        from codecarbon import OfflineEmissionsTracker

        # a country is required for emissions, which are not used
        self._tracker: Any = OfflineEmissionsTracker(
            country_iso_code="USA",
            tracking_mode="process",
            allow_multiple_runs=True,
            save_to_file=False,
            save_to_api=False,
            save_to_logger=False,
            save_to_prometheus=False,
            log_level="error",
        )
        self._running = False
        # the first task detects the hardware, which takes seconds that are not the run's
        self._tracker.start_task("detection")
        self._tracker.stop_task("detection")

    def close(self) -> None:
        """End the measurement of a run that did not come to its end."""
        if self._running:
            self.stop()

    def start(self) -> None:
        """Begin to measure."""
        self._tracker.start_task(TASK)
        self._running = True

    def stop(self) -> float | None:
        """The energy since :meth:`start` in watt-hours; ``None`` if CodeCarbon could not tell."""
        self._running = False
        measured = self._tracker.stop_task(TASK)
        return None if measured is None else 1000 * measured.energy_consumed


def estimated_by() -> str:
    """What estimates, with its version, as shown in tables."""
    from importlib.metadata import version

    return f"CodeCarbon {version('codecarbon')}"
