"""The HTTP server for those who ask for calls: API, MCP, and the routes of the telephone networks."""
