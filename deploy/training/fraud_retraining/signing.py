"""Ed25519 keys and signatures over a model file's bytes: services with the public key load nothing else."""

import base64
import os
from pathlib import Path

from fraud_retraining.errors import StepError


def make_keys(private: Path, public: Path) -> None:
    """Writes a new pair as PEM (PKCS #8, SubjectPublicKeyInfo); the private one readable by its owner only."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if private.exists() or public.exists():
        raise StepError(f"{private} or {public} is there already: a key that is in use is not overwritten")
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secret)
    public.write_bytes(key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo))


def sign(content: bytes, private: Path) -> str:
    """The signature, base64."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(private.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise StepError(f"signing key {private}: {error}; make one with 'python -m fraud_retraining keys'") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise StepError(f"signing key {private}: not an Ed25519 key; make one with 'python -m fraud_retraining keys'")
    return base64.b64encode(key.sign(content)).decode()
