"""What is to be done about a watch's jobs: decided here, written into status, and only then asked of Ray.

`decide` returns the state with what is wanted in it (`Job.stop`), each with the number of the attempt that is due. The
engine writes that down and then carries out the attempts that this process has not carried out yet: a process that
dies in between, at any line, leaves an attempt that the next one makes again. Every action is safe to make twice.
"""

from rayjobwatch.model import retention, serve, stop
from rayjobwatch.model.moment import Moment
from rayjobwatch.model.spec import WatchSpec
from rayjobwatch.model.state import WatchState


def decide(state: WatchState, spec: WatchSpec, moment: Moment) -> WatchState:
    """Return `state` with what `spec` wants to be done now."""
    state = stop.with_orders(state, spec, moment)
    state = serve.with_clean_up(state, spec.serve, moment)
    return retention.with_records(state, spec.retention, moment)


def seconds_to_next(state: WatchState, spec: WatchSpec, moment: Moment) -> float:
    """Return how long until there is something to decide that no news tells of; `math.inf`: never."""
    return min(
        stop.seconds_to_next(state, spec.stop, moment),
        serve.seconds_to_next(state, moment),
        retention.seconds_to_next(state, spec.retention, moment),
    )
