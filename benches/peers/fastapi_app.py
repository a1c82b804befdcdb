"""The usual Python service: FastAPI, pydantic, ONNX Runtime. The model alone, features given by the caller.

    MODEL=model.onnx uvicorn fastapi_app:app --workers 1 --loop uvloop --http httptools --no-access-log
"""

import os

import numpy as np
import onnxruntime as ort
from fastapi import FastAPI
from pydantic import BaseModel

options = ort.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = ort.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
NAME = session.get_inputs()[0].name
# The probabilities are the last output of every ordinary exporter.
OUTPUT = session.get_outputs()[-1].name

app = FastAPI()


class Request(BaseModel):
    instances: list[list[float]]


@app.post("/invocations")
async def invocations(request: Request):
    rows = np.asarray(request.instances, dtype=np.float32)
    (answer,) = session.run([OUTPUT], {NAME: rows})
    return {"predictions": np.asarray(answer)[:, 1].tolist()}
