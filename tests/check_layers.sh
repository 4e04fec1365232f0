#!/usr/bin/env bash
# Who may include whom (README, the house): fails and names every include that goes the wrong way.
set -euo pipefail
cd "$(dirname "$0")/.."
bad=0
# complain WHAT WHERE-PATTERN FORBIDDEN-PATTERN [ALLOWED-PATTERN]
complain() {
  local hits
  hits=$(find graph ports nodes app bench -name '*.[hc]pp' | sort | grep -E "$2" | xargs -r grep -nE "#include [\"<]($3)" | { if [ -n "${4:-}" ]; then grep -vE "$4"; else cat; fi; } || true)
  if [ -n "$hits" ]; then
    printf '%s:\n%s\n' "$1" "$hits"
    bad=1
  fi
}
complain 'graph/ includes neither ports nor nodes' '^graph/' '(pipestill/)?(ports|nodes|app|bench)/'
complain 'graph/base/ includes only itself' '^graph/base/' 'graph/' '"graph/base/'
complain 'ports/ includes neither the engine nor nodes' '^ports/' '(nodes|app|bench)/|graph/' '"graph/base/'
complain 'nodes/ includes no program' '^nodes/' '(app|bench)/'
complain 'a port interface includes graph/base, ports/types.hpp and interfaces only' \
  '^ports/(sampling/sampling_client|training/training_client|dataset/dataset_store|tokenizer/tokenizer|renderer/renderer|telemetry/telemetry)\.hpp$' \
  'ports/' '"ports/(types|sampling/sampling_client|tokenizer/tokenizer)\.hpp"'
complain 'only the flow-graph executor includes TBB' '^(graph|ports|nodes|app)/' '(oneapi/)?tbb/' '^graph/detail/flow_graph_executor.cpp:'
complain 'nodes/ and app/ reach adapters through factories' '^(nodes|app)/' \
  'ports/(simulated|embedded)/|ports/(sampling|training)/(torch|simulated)_|ports/(tokenizer/(bytes|chars|huggingface|sentencepiece)|renderer/(role|llama3|qwen3|deepseek|gpt_oss|kimi|assembly)|dataset/(jsonl|indexed|row|text|file))_' \
  'ports/embedded/(model_directory|.*check.*)\.hpp'
[ "$bad" -eq 0 ] && echo "layers: every include goes the right way"
exit "$bad"
