"""Tries MCP servers, ours and others', from a shell."""
