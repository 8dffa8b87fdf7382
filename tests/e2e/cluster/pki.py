"""Keys, certificates and kubeconfig files of the cluster, by the openssl command."""

from __future__ import annotations

import subprocess
from pathlib import Path

DAYS = "30"
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority:
    """A certificate authority in a folder, and what it signs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        subject = ["-days", DAYS, "-subj", "/CN=e2e-ca"]
        _openssl(folder, "req", "-x509", *NEW_KEY, *subject, "-keyout", "ca.key", "-out", "ca.crt")
        _openssl(folder, "genrsa", "-out", "sa.key", "2048")
        _openssl(folder, "rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub")

    def sign(self, name: str, subject: str, alternatives: str) -> None:
        """Writes NAME.key and NAME.crt, good for serving and for being a client."""
        _openssl(self.folder, "req", *NEW_KEY, "-subj", subject, "-keyout", f"{name}.key", "-out", f"{name}.csr")
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={alternatives}\nextendedKeyUsage=serverAuth,clientAuth\n")
        signer = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", DAYS, "-extfile", extensions.name]
        _openssl(self.folder, "x509", "-req", "-in", f"{name}.csr", *signer, "-out", f"{name}.crt")

    def kubeconfig(self, name: str, server: str, out: Path) -> None:
        """Writes a kubeconfig for the client certificate `name` with absolute paths in it."""
        out.write_text(
            f"""apiVersion: v1
kind: Config
clusters: [{{name: k, cluster: {{server: "{server}", certificate-authority: {self.folder}/ca.crt}}}}]
users: [{{name: u, user: {{client-certificate: {self.folder}/{name}.crt, client-key: {self.folder}/{name}.key}}}}]
contexts: [{{name: c, context: {{cluster: k, user: u}}}}]
current-context: c
"""
        )


def self_signed(folder: Path, name: str) -> None:
    """Writes NAME.key and NAME.crt for a host name, unless they are there."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
    if key.exists() and certificate.exists():
        return
    subject = ["-days", "3650", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    _openssl(folder, "req", "-x509", *NEW_KEY, *subject, "-keyout", key.name, "-out", certificate.name)


def _openssl(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {' '.join(arguments)}: {done.stderr.strip()}")
