"""One client sends what is expensive to answer; everybody else must hardly notice."""
