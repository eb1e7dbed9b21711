"""placeholder"""
def frame_report_markdown(version, checks, language): return ""
