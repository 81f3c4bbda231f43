"""Jobs that two scripts run in turns, one process for each job and seed; their results as JSON, and the report.

A result has ``seconds`` and ``megabytes`` of training, ``steps``, ``loss``, and ``scores`` by name; here ``busy`` and
``commit`` are added. A job whose result exists is not run again, so that an interrupted measurement continues.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path

import report
from embedding_data import format_verdict

_HERE = Path(__file__).parent


class PairedJobs:
    """Jobs of this package and of a peer.

    Args:
        scripts: the names of both scripts, this package's first, without ``.py``.
        jobs: the metric of each job that the report compares; higher is better.
        peer: the name of the peer.
        min_ratio: the target: the peer's time divided by that of this package.
    """

    def __init__(self, scripts, jobs, *, peer, min_ratio):
        self.scripts = scripts
        self.jobs = jobs
        self.peer = peer
        self.min_ratio = min_ratio

    def add_options(self, parser):
        """Adds the options that select what is run."""
        parser.add_argument("--seeds", type=int, nargs="+", default=[1])
        parser.add_argument("--jobs", choices=self.jobs, nargs="+", default=list(self.jobs))
        name = Path(sys.argv[0]).stem
        parser.add_argument(
            "--results", type=Path, default=_HERE / "results" / name, help="directory of the JSON results"
        )
        parser.add_argument("--busy", action="store_true", help="other processes are busy: record scores, but no times")
        parser.add_argument("--report", action="store_true", help="write the report from the recorded results")

    def run(self, arguments, options):
        """Runs the jobs of all seeds that have no result yet; ``options`` are those of both scripts."""
        arguments.results.mkdir(parents=True, exist_ok=True)
        for seed in arguments.seeds:
            for job in arguments.jobs:
                for script in self.scripts:
                    path = arguments.results / f"{script}_{job}_{seed}.json"
                    if path.exists():
                        continue
                    command = [sys.executable, _HERE / f"{script}.py", "--job", job, "--seed", str(seed), *options]
                    output = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
                    result = json.loads(output.splitlines()[-1])
                    result |= {"busy": arguments.busy, "commit": report.get_commit(_HERE)}
                    path.write_text(json.dumps(result), encoding="utf-8")
                    print(f"{path.name}: {result['seconds']:.0f} s, {result['scores']}", flush=True)

    def _read_results(self, results):
        """Returns the pairs of results of both sides: by job, then by seed."""
        pairs = {job: {} for job in self.jobs}
        ours, theirs = self.scripts
        for path in sorted(results.glob(f"{ours}_*.json")):
            job, seed = path.stem.removeprefix(f"{ours}_").rsplit("_", 1)
            other = results / f"{theirs}_{job}_{seed}.json"
            if other.exists():
                pairs[job][int(seed)] = [json.loads(each.read_text(encoding="utf-8")) for each in (path, other)]
        return {job: seeds for job, seeds in pairs.items() if seeds}

    def write_report(self, results, title, note):
        """Writes the report: times of jobs without ``--busy``, memory and scores of all."""
        verdicts, rows, commits = [], [], set()
        for job, seeds in self._read_results(results).items():
            metric, ratios = self.jobs[job], []
            for seed, (ours, theirs) in sorted(seeds.items()):
                commits |= {ours["commit"], theirs["commit"]}
                quiet = not (ours["busy"] or theirs["busy"])
                if quiet:
                    ratios.append(theirs["seconds"] / ours["seconds"])
                rows.append(
                    (
                        f"{job}, seed {seed}",
                        *(f"{side['seconds']:.0f}" if quiet else "–" for side in (ours, theirs)),
                        f"{ratios[-1]:.2f}" if quiet else "–",
                        *(f"{side['megabytes']:.0f}" for side in (ours, theirs)),
                        *(str(side["steps"]) for side in (ours, theirs)),
                        *(f"{side['loss']:.4f}" for side in (ours, theirs)),
                        *(f"{side['scores'][metric]:.4f}" for side in (ours, theirs)),
                    )
                )
            if ratios:
                ratio = statistics.median(ratios)
                verdicts.append(
                    format_verdict(
                        f"{job}: {ratio:.2f} times as fast as {self.peer} (median of {_count_seeds(ratios)}), at least "
                        f"{self.min_ratio:.2f}",
                        ratio >= self.min_ratio,
                    )
                )
            own, others = ([pair[side]["scores"][metric] for pair in seeds.values()] for side in (0, 1))
            verdicts.append(
                format_verdict(
                    f"{job}: {metric} {_format_range(own)}, {self.peer} {_format_range(others)}, of "
                    f"{_count_seeds(own)}; the median is not below the lowest score of {self.peer}",
                    statistics.median(own) >= min(others),
                )
            )
        names = ("s", "MB", "steps", "last loss", "score")
        sides = [name for pair in names for name in (pair, f"{pair}, {self.peer}")]
        report.write(
            title,
            "\n".join(verdicts),
            f"{note} 's': seconds of training; a dash means that the machine did other work too. 'MB': peak memory "
            "above that of the imports. Verdicts use the median of the seeds; the range is in parentheses. Commits of "
            f"the jobs: {', '.join(sorted(commits))}.",
            report.make_table(("job", *sides[:2], "times as fast", *sides[2:]), rows),
        )


def _count_seeds(values):
    return "1 seed" if len(values) == 1 else f"{len(values)} seeds"


def _format_range(scores):
    """The median of the seeds' scores; the lowest and the highest, if there are several."""
    if len(scores) == 1:
        return f"{scores[0]:.4f}"
    return f"{statistics.median(scores):.4f} ({min(scores):.4f} to {max(scores):.4f})"
