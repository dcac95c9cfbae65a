"""Errors of a Kubernetes API server.

KubernetesError
├── KubeconfigError  the kubeconfig names no server or credentials that can be used
├── ObjectMissing    there is no such object, or not for us (404)
├── ObjectChanged    somebody changed it between our look and our write (409)
└── ApiDenied        the server does not let us (401, 403)
"""

from __future__ import annotations

from backends.errors import CouldNot


class KubernetesError(CouldNot):
    code = "kubernetes_error"


class KubeconfigError(KubernetesError):
    code = "kubeconfig_error"


class ObjectMissing(KubernetesError):
    code = "kubernetes_missing"


class ObjectChanged(KubernetesError):
    code = "kubernetes_changed"


class ApiDenied(KubernetesError):
    code = "kubernetes_denied"
