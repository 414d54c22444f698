//! Subjects, tokens, wildcards, queue names and the interest index.
