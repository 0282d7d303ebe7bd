"""The Grafana dashboards as code; `python -m deploy.grafana.source.write` makes the JSON files."""
