from neuralforge.runs.events import Evaluated, Event, Finished, Note, Phase, Progress, Step
from neuralforge.runs.log import Logged
from neuralforge.runs.view import RunStatus, RunView, summarise


def step(number: int, loss: float, memory: int = 100) -> Step:
    return Step(number, 10, loss, 1e-3, 50 * number, 400.0, 0.5, memory, number / 10)


def at(*told: tuple[float, Event]) -> list[Logged]:
    return [Logged(moment, event) for moment, event in told]


def test_nothing_yet() -> None:
    assert summarise([]) == RunStatus()


def test_phases_progress_and_time_left() -> None:
    status = summarise(
        at((0, Phase("mine", "click")), (1, Progress(10, 40, "commits")), (3, Progress(20, 40, "commits", "x.py")))
    )
    assert (status.phase, status.detail, status.done, status.total, status.unit) == ("mine", "x.py", 20, 40, "commits")
    assert status.seconds_left == 4.0
    assert status.elapsed == 3.0


def test_training_as_it_goes() -> None:
    status = summarise(
        at(
            (0, Phase("mine")),
            (5, Phase("train")),
            (7, step(1, 2.5, 300)),
            (9, step(2, 2.4, 200)),
            (9.5, Evaluated(2, 2.45, True)),
            (10, Note("careful", "warning")),
            (10, Note("by the way")),
            (11, step(3, 2.3, 250)),
            (12, Evaluated(3, 2.5, False)),
        )
    )
    assert (status.step, status.steps, status.loss, status.tokens) == (3, 10, 2.3, 150)
    assert (status.memory, status.peak_memory) == (250, 300)
    assert status.seconds_left == 14.0
    assert (status.validation, status.validation_step, status.best_validation) == (2.5, 3, 2.45)
    assert status.warnings == ("careful",)
    assert [(phase.name, phase.seconds) for phase in status.phases] == [("mine", 5), ("train", 7)]
    assert status.curve == ((1, 2.5), (2, 2.4), (3, 2.3))
    assert status.validations == ((2, 2.45), (3, 2.5))


def test_resumed_after_a_kill_and_after_an_interruption() -> None:
    view = RunView()
    for logged in at((0, step(1, 3.0)), (1, step(2, 2.9)), (2, Evaluated(2, 2.0, True)), (3, step(3, 2.8))):
        view.add(logged)
    view.add(Logged(100, Finished("interrupted", {"resume": "x"})))
    assert (view.status().outcome, view.status().seconds_left) == ("interrupted", None)
    view.add(Logged(200, step(2, 2.7)))
    status = view.status()
    assert (status.outcome, status.step, status.tokens, status.best_validation) == ("running", 2, 100, None)
    assert status.curve == ((1, 3.0), (2, 2.7))
    view.add(Logged(300, Finished("done", {"adapter": "a.lora"})))
    assert (view.status().outcome, view.status().summary) == ("done", {"adapter": "a.lora"})
