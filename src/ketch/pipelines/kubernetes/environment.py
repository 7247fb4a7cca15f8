"""Variables that the settings give to the step. Pure."""

from collections.abc import Iterator

from ketch.kube.types.containers import EnvVar, EnvVarSource, KeySelector, ObjectFieldSelector
from ketch.pipelines.kubernetes.sources import Find, text_value
from ketch.pipelines.kubernetes.spec import ExecutorConfig


def variables(config: ExecutorConfig, find: Find) -> Iterator[EnvVar]:
    """From Secrets, ConfigMaps and the pod's own fields, in this order."""
    for secret in config.secret_as_env:
        wanted = ", ".join(each.env_var for each in secret.key_to_env)
        name = text_value(f"the secret for {wanted}", secret.secret_name, secret.secret_name_parameter, find)
        for each in secret.key_to_env if name is not None else ():
            selector = KeySelector(name=name or "", key=each.secret_key, optional=secret.optional)
            yield EnvVar(name=each.env_var, value_from=EnvVarSource(secret_key_ref=selector))
    for config_map in config.config_map_as_env:
        wanted = ", ".join(each.env_var for each in config_map.key_to_env)
        what = f"the config map for {wanted}"
        name = text_value(what, config_map.config_map_name, config_map.config_map_name_parameter, find)
        for each in config_map.key_to_env if name is not None else ():
            selector = KeySelector(name=name or "", key=each.config_map_key, optional=config_map.optional)
            yield EnvVar(name=each.env_var, value_from=EnvVarSource(config_map_key_ref=selector))
    for field in config.field_path_as_env:
        source = EnvVarSource(field_ref=ObjectFieldSelector(field_path=field.field_path))
        yield EnvVar(name=field.name, value_from=source)
