"""Networks of the book: plain, short, readable."""

from companion.models.gpt import GPT, GPTConfig
from companion.models.llama import Llama, LlamaConfig
from companion.models.mlp import MLP
from companion.models.resnet import resnet18
from companion.models.swin import Swin, SwinConfig
from companion.models.vae import VAE, VAEConfig

__all__ = ["MLP", "resnet18", "GPT", "GPTConfig", "Llama", "LlamaConfig"]
__all__ += ["Swin", "SwinConfig", "VAE", "VAEConfig"]
