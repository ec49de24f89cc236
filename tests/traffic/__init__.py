"""Recorded exchanges through real SDKs: served on loopback, asked for by their clients, read by an oracle.

`exchanges` has the recordings, `server` answers with them, `sdks` asks through the real client, `facts` and
its readers say what the raw payloads hold without any of llm_trace's code, `judge` compares them.
"""
