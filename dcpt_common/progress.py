"""The progress bar of the commands, on standard error."""

from tqdm import tqdm


class ProgressBar(tqdm):
    """A bar of tqdm that is given the work done so far, not the step. Its arguments are tqdm's; `with` closes it."""

    n: float

    def report(self, done: float, total: float, name: str = "") -> None:
        """Show that `done` of `total` units are done.

        The first call says what was done before, such as by an interrupted run: it takes no part in the speed. So does
        a call with another total, or with fewer done, which begins the next task.

        Args:
            done: Units done so far.
            total: Units of the whole task.
            name: What is worked on, for the front of the bar; by default what stood there.
        """
        if name:
            self.set_description(name, refresh=False)
        if total != self.total or done < self.n:
            self.reset(total)
            self.initial = self.n = self.last_print_n = done
            self.refresh()
        self.update(done - self.n)
