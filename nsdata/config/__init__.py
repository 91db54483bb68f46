"""Settings: `settings` holds all of them; `keys` reads TOML, KEY=VALUE and the environment; each
other module has those of its group."""
