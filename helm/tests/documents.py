"""YAML documents as Python values, without a YAML library: Helm reads them and writes JSON."""
import json
import os
import pathlib
import subprocess
import tempfile

HELM = os.environ.get("HELM", "helm")
TEMPLATE = r"""{{- range $path, $_ := .Files.Glob "files/*" }}
{{- range regexSplit "(?m)^---.*$" ($.Files.Get $path) -1 }}
{{- $document := fromYaml . }}
{{- if $document }}
{{ $document | toJson }}
{{- end }}
{{- end }}
{{- end }}
"""


def read(*paths):
    """Returns all documents of these files, in order."""
    with tempfile.TemporaryDirectory() as folder:
        chart = pathlib.Path(folder)
        (chart / "Chart.yaml").write_text("{apiVersion: v2, name: read, version: 0.0.0}")
        (chart / "templates").mkdir()
        (chart / "templates/json.txt").write_text(TEMPLATE)
        (chart / "files").mkdir()
        for i, path in enumerate(paths):
            (chart / f"files/{i:03}").write_text(pathlib.Path(path).read_text())
        done = subprocess.run([HELM, "template", str(chart)], capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"helm cannot read {paths}: {done.stderr}")
    documents = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    broken = [document for document in documents if set(document) == {"Error"}]
    if broken:
        raise ValueError(f"no YAML in {paths}: {broken[0]['Error']}")
    return documents
