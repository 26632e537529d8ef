"""RecBole models, one file each, put together from :mod:`recbole_vae_plugin.nn`.

A new model is a file here, a file of defaults in ``properties/`` and a line below.
"""

from pathlib import Path

#: The folder of the models' default files.
PROPERTIES = Path(__file__).resolve().parent.parent / "properties"

#: Model name -> the module that holds its class. Names only: listing them imports nothing.
MODELS = {
    "VAESplit": "recbole_vae_plugin.models.vae_split",
    "VAETwin": "recbole_vae_plugin.models.vae_twin",
    "DAE": "recbole_vae_plugin.models.dae",
}
