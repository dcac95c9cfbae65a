"""What runs on legacy today, looked at over SSH and written down as a draft of a plan."""
