#!/usr/bin/env bash
# The same events from a running server (`make run`), filtered by name, type and tag.
#
#     bash examples/events_with_curl.sh [URL]
#
# prints
#
#     names: on_retriever_start on_retriever_end
#     types: on_chat_model_start on_chat_model_stream on_chat_model_end
#     tags: on_parser_start on_parser_stream on_parser_end
set -euo pipefail
url=${1:-http://127.0.0.1:2024}

ask() {
    curl -sSN "$url/agents/retrieve/events" \
        -d "{\"input\": \"Does a client that disconnects end its run?\", $1}" |
        sed -n 's/^event: \(on_.*\)/\1/p' | uniq | paste -sd ' '
}

echo "names: $(ask '"include_names": ["Docs"]')"
echo "types: $(ask '"include_types": ["chat_model"]')"
echo "tags: $(ask '"include_tags": ["parser"]')"
