"""Which of two runs, prompts or models is better, by how much, where, and how sure that is.

api ──► sides ──► facts ──► units ──► pairs ──► measures ──► statistics ──► result
        what a     rows of   calls     by        a number     bounds,        tables,
        means      the store that are  content   per pair     tests, power   HTML, JSON
                             compared
"""
