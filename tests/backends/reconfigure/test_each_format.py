"""One file of each kind that people have, as they have it, goes to target by one plan: what is legacy's is changed, all else is byte for byte as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.plan.load import parse_plan
from backends.plan.models import ConfigTree
from backends.reconfigure.mapping import Mapping
from backends.reconfigure.tree import Outcome, rewrite, write

PLAN = """\
version: 1
name: m
legacy: {provider: gcp, region: us-central1, hosts: [{name: gcp-a1, address: 10.0.0.11}]}
target: {provider: lambda, hosts: [{name: lam-b1, address: 10.1.0.21}]}
stores: {old: {url: "gs://corp-old/v3/"}, new: {url: "s3://corp-new/v3/", endpoint: "https://objects.example.net"}}
datasets: [{name: d, from: old, to: new}]
workloads: [{name: w, class: training, runs_on: {legacy: [gcp-a1], target: [lam-b1]}}]
reconfigure:
  files: [{from: config, to: config-target}]
  rules:
    - {replace: db.old.example.net, with: db.new.example.net}
    - {replace: "http://prom-old:9090", with: "http://prom-new:9090"}
    - {key: CUDA_VISIBLE_DEVICES, with: "0,1,2,3"}
    - {key: MEM_FRACTION, with: "0.85"}
    - {key: DB_PASSWORD, with: "${DB_PASSWORD}"}
"""

# by name: what it holds, and the lines that are other on target
FILES: dict[str, tuple[str, dict[str, str]]] = {
    ".env": (
        "# the service's settings; db.old.example.net is in `hosts` too\n"
        "export BUCKET='gs://corp-old/v3'   # with its quotes\n"
        "\n"
        "DB_URL=postgres://app@db.old.example.net:5432/app?sslmode=require\n"
        "DB_PASSWORD=hunter2\n"
        "METRICS=http://prom-old:9090/api\n"
        "CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7\n"
        "MEM_FRACTION = 0.90\n"
        'EMPTY=\nLAST="kept"',
        {
            "export BUCKET='gs://corp-old/v3'   # with its quotes": "export BUCKET='s3://corp-new/v3'   # with its quotes",
            "DB_URL=postgres://app@db.old.example.net:5432/app?sslmode=require": "DB_URL=postgres://app@db.new.example.net:5432/app?sslmode=require",
            "DB_PASSWORD=hunter2": "DB_PASSWORD=${DB_PASSWORD}",
            "METRICS=http://prom-old:9090/api": "METRICS=http://prom-new:9090/api",
            "CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7": "CUDA_VISIBLE_DEVICES=0,1,2,3",
            "MEM_FRACTION = 0.90": "MEM_FRACTION = 0.85",
        },
    ),
    "app.yaml": (
        "%YAML 1.2\n---\n# data first\nzeta: 1\ndata: {bucket: gs://corp-old/v3, shards: [1, 2]}  # flow\n"
        "alpha:\n    host:   db.old.example.net   # odd spacing\n    DB_PASSWORD: 'hunter2'\n    on: yes\n"
        "script: |-\n  # of a block\n  gsutil cp gs://corp-old/v3/x .\n",
        {
            "data: {bucket: gs://corp-old/v3, shards: [1, 2]}  # flow": "data: {bucket: s3://corp-new/v3, shards: [1, 2]}  # flow",
            "    host:   db.old.example.net   # odd spacing": "    host:   db.new.example.net   # odd spacing",
            "    DB_PASSWORD: 'hunter2'": "    DB_PASSWORD: '${DB_PASSWORD}'",
            "  gsutil cp gs://corp-old/v3/x .": "  gsutil cp s3://corp-new/v3/x .",
        },
    ),
    "app.json": (
        '{\n  "zeta" : 1,\n  "hosts":["gcp-a1","other"],\n\t"url": "gs:\\/\\/corp-new",\n  "db": {"host": "db.old.example.net", "port": 5432}\n}\n',
        {
            '  "hosts":["gcp-a1","other"],': '  "hosts":["lam-b1","other"],',
            '  "db": {"host": "db.old.example.net", "port": 5432}': '  "db": {"host": "db.new.example.net", "port": 5432}',
        },
    ),
    "app.toml": (
        '# first\nzeta = 1   # number\n\n[db]   # of tables\nhost = "db.old.example.net" # where\nDB_PASSWORD = \'hunter2\'\n\n[[job]]\nin = [\n  "gs://corp-old/v3/a", # one\n  "x",\n]\n',
        {
            'host = "db.old.example.net" # where': 'host = "db.new.example.net" # where',
            "DB_PASSWORD = 'hunter2'": "DB_PASSWORD = '${DB_PASSWORD}'",
            '  "gs://corp-old/v3/a", # one': '  "s3://corp-new/v3/a", # one',
        },
    ),
    "app.ini": (
        "; a comment with gs://corp-old/v3\n[Server]\nHost : gcp-a1\nMEM_FRACTION=0.9\n\n# another\n[paths]\nin = gs://corp-old/v3/in\n",
        {"Host : gcp-a1": "Host : lam-b1", "MEM_FRACTION=0.9": "MEM_FRACTION=0.85", "in = gs://corp-old/v3/in": "in = s3://corp-new/v3/in"},
    ),
    "docker-compose.yml": (
        "services:\n  # the chat\n  chat:\n    image: corp/chat:v3\n    environment:\n      - BUCKET=gs://corp-old/v3 # as a list\n      - CUDA_VISIBLE_DEVICES=0,1\n"
        "  worker:\n    environment:\n      DB_PASSWORD: hunter2\n      MEM_FRACTION: \"0.9\"\n    extra_hosts: [\"db:10.0.0.11\"]\n    deploy:\n      resources: {reservations: {devices: [{capabilities: [gpu]}]}}\n",
        {
            "      - BUCKET=gs://corp-old/v3 # as a list": "      - BUCKET=s3://corp-new/v3 # as a list",
            "      - CUDA_VISIBLE_DEVICES=0,1": "      - CUDA_VISIBLE_DEVICES=0,1,2,3",
            "      DB_PASSWORD: hunter2": '      DB_PASSWORD: "${DB_PASSWORD}"',
            '      MEM_FRACTION: "0.9"': '      MEM_FRACTION: "0.85"',
            '    extra_hosts: ["db:10.0.0.11"]': '    extra_hosts: ["db:10.1.0.21"]',
        },
    ),
    "deployment.yaml": (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: chat}  # gcp-a1 is named here\nspec:\n  template:\n    spec:\n      containers:\n"
        "      - name: chat\n        args: [--bucket=gs://corp-old/v3]\n        env:\n        - name: DB_PASSWORD\n          value: hunter2\n"
        "        - {name: MEM_FRACTION, value: \"0.9\"}\n        - name: KEEP\n          value: \"010\"\n"
        "---\n# the second document\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: app\ndata:\n  app.properties: |\n    # inside\n    db=db.old.example.net\n",
        {
            "        args: [--bucket=gs://corp-old/v3]": "        args: [--bucket=s3://corp-new/v3]",
            "          value: hunter2": '          value: "${DB_PASSWORD}"',
            '        - {name: MEM_FRACTION, value: "0.9"}': '        - {name: MEM_FRACTION, value: "0.85"}',
            "    db=db.old.example.net": "    db=db.new.example.net",
        },
    ),
    "train.service": (
        "# the unit of training\n[Unit]\nDescription=Trains\nAfter=network.target\n\n[Service]\n"
        "Environment=\"BUCKET=gs://corp-old/v3\" CUDA_VISIBLE_DEVICES=0,1\nEnvironmentFile=/etc/train.env\n"
        "ExecStart=/opt/train --from gs://corp-old/v3 \\\n  --metrics http://prom-old:9090 \\\n  --quiet\n; kept\n[Install]\nWantedBy=multi-user.target\n",
        {
            'Environment="BUCKET=gs://corp-old/v3" CUDA_VISIBLE_DEVICES=0,1': 'Environment="BUCKET=s3://corp-new/v3" CUDA_VISIBLE_DEVICES=0,1,2,3',
            "ExecStart=/opt/train --from gs://corp-old/v3 \\": "ExecStart=/opt/train --from s3://corp-new/v3 \\",
            "  --metrics http://prom-old:9090 \\": "  --metrics http://prom-new:9090 \\",
        },
    ),
    "nightly.sbatch": (
        "#!/bin/bash\n#SBATCH --job-name=nightly\n#SBATCH --nodelist=gcp-a1   # where\n# not changed: gs://corp-old/v3\nmodule load cuda\n"
        "export BUCKET=\"gs://corp-old/v3\"\nexport DB_PASSWORD=hunter2\nif [ -n \"$X\" ]; then\n\tsrun python train.py --data gs://corp-old/v3/x\nfi\n",
        {
            "#SBATCH --nodelist=gcp-a1   # where": "#SBATCH --nodelist=lam-b1   # where",
            'export BUCKET="gs://corp-old/v3"': 'export BUCKET="s3://corp-new/v3"',
            "export DB_PASSWORD=hunter2": "export DB_PASSWORD=${DB_PASSWORD}",
            "\tsrun python train.py --data gs://corp-old/v3/x": "\tsrun python train.py --data s3://corp-new/v3/x",
        },
    ),
}  # fmt: skip


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "config").mkdir()
    for name, (text, _) in FILES.items():
        (tmp_path / "config" / name).write_bytes(text.encode())
    return tmp_path


def outcome_of(base: Path) -> Outcome:
    plan = parse_plan(PLAN, Path("plan.yaml")).plan
    assert plan is not None
    return rewrite((ConfigTree.model_validate({"from": "config", "to": "config-target"}),), Mapping(plan), base)


@pytest.mark.parametrize("name", FILES)
def test_what_is_legacys_is_changed_and_every_other_line_stays(base: Path, name: str) -> None:
    write(outcome_of(base))
    text, changed = FILES[name]
    wanted = "\n".join(changed.get(line, line) for line in text.split("\n"))
    assert (base / "config-target" / name).read_bytes().decode() == wanted


def test_of_what_people_wrote_only_comments_still_name_legacy(base: Path) -> None:
    """Comments are told of and left: nobody but an operator knows what they mean."""
    lines = {name: text.split("\n") for name, (text, _) in FILES.items()}
    for one in outcome_of(base).left:
        name, _, number = one.where.rpartition("/")[2].rpartition(":")
        assert "#" in lines[name][int(number) - 1] or lines[name][int(number) - 1].startswith(";"), one


def test_no_secret_of_any_of_them_is_in_the_diff(base: Path) -> None:
    shown = "\n".join(line for one in outcome_of(base).files for line in one.diff())
    assert "hunter2" not in shown
