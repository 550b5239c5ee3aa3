"""The trial Asterisk, the phone and the wire: what the demo and the tests share.

    rootfs     install() -> Path                                       Asterisk in a directory of its own; TrialError
    asterisk   start(instance, ports, overlay) -> Trial, restart, stop, kill, status; Trial.cli, .ari, .sip_uri
    phone      BaresipPhone(trial, directory): dial, say, send_digit, hang_up, wait_for, recordings
    wire       RtpCapture(ports, pcap_path): to(ports), sent_from(ports) -> Stream: live, wait_voice, wait_quiet …
    measure    frame_gaps, missing_packets, voice_segments, tone_level, tone_starts: pure
    speech     synthesize(text, voice, rate) -> Path

Each module's docstring shows it in use.
"""
