"""Existing clients, unchanged, against a running fraud-api. Run by run.sh, which starts one."""

import asyncio
import os
import unittest

import numpy as np
import pandas as pd

ADDRESS = os.environ["FRAUD_API"]
URL = f"http://{ADDRESS}"


def rows():
    return (np.arange(75, dtype=np.float32) / 4).reshape(5, 15)


class Clients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        import requests

        cls.model = os.environ["FRAUD_MODEL"]
        answer = requests.post(f"{URL}/invocations", json={"instances": rows().tolist()}, timeout=10)
        answer.raise_for_status()
        cls.expected = np.array(answer.json()["predictions"], dtype=np.float32)

    def test_tritonclient_with_its_defaults(self):
        import tritonclient.http as triton

        client = triton.InferenceServerClient(ADDRESS)
        self.assertTrue(client.is_server_live() and client.is_server_ready() and client.is_model_ready(self.model))
        self.assertIn("binary_tensor_data", client.get_server_metadata()["extensions"])
        metadata = client.get_model_metadata(self.model)
        version = metadata["versions"][0]
        for dtype, name in [(np.float32, "FP32"), (np.float64, "FP64"), (np.int64, "INT64")]:
            data = rows().astype(dtype)
            for binary in [True, False]:
                tensor = triton.InferInput("features", list(data.shape), name)
                tensor.set_data_from_numpy(data, binary_data=binary)
                wanted = triton.InferRequestedOutput("fraud_probability", binary_data=binary)
                answer = client.infer(self.model, [tensor], model_version=version, outputs=[wanted], request_id="7")
                self.assertEqual(answer.get_response()["id"], "7")
                given = answer.as_numpy("fraud_probability")
                self.assertEqual(given.shape, (5,))
                if dtype != np.int64:
                    np.testing.assert_array_equal(given, self.expected)
            # Without named outputs the client asks for all of them as bytes.
            given = client.infer(self.model, [tensor]).as_numpy("fraud_probability")
            self.assertEqual(given.shape, (5,))
        with self.assertRaises(triton.InferenceServerException) as refused:
            client.infer("other", [tensor])
        self.assertIn("no such model", str(refused.exception))
        client.close()

    def test_tritonclient_with_one_tensor_per_feature(self):
        import tritonclient.http as triton

        client = triton.InferenceServerClient(ADDRESS)
        names = client.get_model_metadata(self.model)["parameters"]["features"]
        tensors = []
        for column, name in enumerate(names):
            tensor = triton.InferInput(name, [5, 1], "FP32")
            tensor.set_data_from_numpy(np.ascontiguousarray(rows()[:, column : column + 1]))
            tensors.append(tensor)
        np.testing.assert_array_equal(client.infer(self.model, tensors).as_numpy("fraud_probability"), self.expected)
        client.close()

    def test_kserve_client(self):
        from kserve import InferInput, InferRequest, InferenceRESTClient, RESTConfig
        from kserve.constants.constants import PredictorProtocol

        async def ask():
            client = InferenceRESTClient(RESTConfig(protocol=PredictorProtocol.REST_V2))
            self.assertTrue(await client.is_server_ready(URL))
            self.assertTrue(await client.is_server_live(URL))
            self.assertTrue(await client.is_model_ready(URL, self.model))
            for binary in [False, True]:
                tensor = InferInput("features", [5, 15], "FP32")
                tensor.set_data_from_numpy(rows(), binary_data=binary)
                request = InferRequest(self.model, [tensor], request_id="seven")
                answer = await client.infer(URL, request, model_name=self.model)
                self.assertEqual(answer.id, "seven")
                given = answer.outputs[0].as_numpy()
                np.testing.assert_allclose(given.astype(np.float32), self.expected)
            await client.close()

        asyncio.run(ask())

    def test_mlflow_scoring_client(self):
        from mlflow.pyfunc.scoring_server.client import ScoringServerClient

        host, port = ADDRESS.rsplit(":", 1)
        client = ScoringServerClient(host, int(port))
        client.ping()
        self.assertTrue(client.get_version())
        import requests

        names = requests.get(f"{URL}/v2/models/{self.model}", timeout=10).json()["parameters"]["features"]
        frame = pd.DataFrame(rows(), columns=names)
        for data in [frame, rows()]:
            given = np.array(client.invoke(data)["predictions"], dtype=np.float32)
            np.testing.assert_allclose(given, self.expected)


if __name__ == "__main__":
    unittest.main(verbosity=2)
