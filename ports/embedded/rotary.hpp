#pragma once
// The frequencies of rotary positions: the one place that knows about scaling. Needs no libtorch.
#include <vector>

#include "ports/embedded/model_config.hpp"

namespace pipestill {

/// Of the head_dim / 2 pairs of a head, in radians a position: theta^(-2j / head_dim) for pair j (Su et al., arXiv 2104.09864,
/// section 3.2.2), scaled as config.rope_scaling says, with f a frequency, w = 2 pi / f its wavelength and L =
/// original_max_position_embeddings:
///   linear: f / factor (Chen et al., arXiv 2306.15595, section 2.3)
///   llama3: f where w < L / high_freq_factor; f / factor where w > L / low_freq_factor; and between them
///           (1 - s) f / factor + s f with s = (L / w - low_freq_factor) / (high_freq_factor - low_freq_factor)
///           (Llama 3.1: meta-llama/llama-models, models/llama3/reference_impl/model.py, apply_scaling).
[[nodiscard]] std::vector<double> rotary_frequencies(const ModelConfig& config);

}  // namespace pipestill
