"""Where everything meets: the only room that names concrete adapters."""
