"""The command ``keras-bert``."""
