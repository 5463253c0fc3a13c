"""`banjie learn`: fit and judge the model that speaks beside the rules."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
import yaml

from routing_rules import learn
from service.terminal import AsJson, Refused, print_document

app = typer.Typer(no_args_is_help=True, help="The learned model; needs the extra `learn`.")

Cases = Annotated[
    Path, typer.Argument(help="CSV with the columns text and label (the code of a line 条线).")
]


@app.command("fit")
def fit(
    file: Cases,
    out: Annotated[Path, typer.Option(help="Folder for model.npz, such as BANJIE_RULES.")],
) -> None:
    """Learn from cases whose answer is known, and write the model."""
    with _learning():
        model = learn.fit(learn.read_cases(file))
        out.mkdir(parents=True, exist_ok=True)
        model.save(out / "model.npz")
    typer.echo(f"{out / 'model.npz'}：{len(model.labels)} 个去向，{len(model.vocabulary)} 个字词")


@app.command("evaluate")
def evaluate(
    file: Cases,
    folds: Annotated[int, typer.Option(min=2, max=20, help="Parts of the cross-validation.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Print how often a model is right on cases that it has not seen."""
    with _learning():
        figures = learn.evaluate(learn.read_cases(file), folds)
    if as_json:
        print_document(figures)
    else:
        typer.echo(yaml.safe_dump(figures, allow_unicode=True, sort_keys=False), nl=False)


@contextmanager
def _learning() -> Iterator[None]:
    try:
        yield
    except learn.CasesError as error:
        raise Refused(str(error), 1) from error
    except OSError as error:
        raise Refused(f"无法写入：{error}", 2) from error
    except ModuleNotFoundError as error:
        raise Refused("学习需要附加组件：pip install 'banjie[learn]'", 2) from error
