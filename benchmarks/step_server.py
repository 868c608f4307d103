"""Times training steps in a process of its own, for steps.py: one JSON message a line in, one answer a line out.

    python -P benchmarks/step_server.py {jnas|torch}

It imports `jnas` and `steps` from PYTHONPATH, so that it can run another checkout. {"hash": H} makes the competitors of
a template and answers with their names; {"name": NAME, "steps": N} trains N steps and answers with the seconds.
"""

import json
import os
import sys


def old_competitors(steps, template):
    """Steps of jnas in a checkout of commit 0ba7254 or of about its age."""
    import jnas
    from jnas.train import Recipe, Trainer, Trial

    trainer = Trainer(template, Recipe.sophius(epochs=steps.LONG), jnas.load_data().split(0.2))
    about = {"compile_seconds": trainer.compile(), "least_steps": trainer.steps if trainer.scan else 2}
    return {"jnas": steps.jnas_steps(trainer, Trial(template))}, about


def main(kind):
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what else is printed goes to stderr
    import steps

    import jnas

    def competitors(template):
        if hasattr(steps, f"{kind}_competitors"):
            return getattr(steps, f"{kind}_competitors")(template)
        return old_competitors(steps, template)

    for line in sys.stdin:
        message = json.loads(line)
        if "hash" in message:
            runs = None  # frees the last template's before the next one is made
            runs, about = competitors(jnas.Template.from_hash(message["hash"]))
            clocks = {name: steps.clocked(one) for name, one in runs.items()}
            answer = {"names": list(clocks), "about": about}
        else:
            answer = {"seconds": clocks[message["name"]](message["steps"])}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
