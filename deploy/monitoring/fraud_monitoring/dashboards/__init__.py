"""The dashboards: one module each; `ALL` lists them."""

from . import cluster, model, service, stream

ALL = [service.BOARD, model.BOARD, stream.BOARD, cluster.BOARD]
