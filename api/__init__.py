"""The service: LangGraph agents over HTTP. `create_app` builds it, langgraph.json says what it serves."""
