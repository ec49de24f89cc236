"""Which of two runs, prompts or models is better, by how much, where, and how sure that is.

api ──► sides ──► facts ──► units ──► pairs ──► measures ──► judge ──► comparison
        what a     rows of   calls     by        a number     bounds,    tables,
        means      the store that are  content   per pair     tests      HTML, JSON
                             compared

`records` says what is found, and knows none of these.
"""
