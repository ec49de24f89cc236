"""An attribution for people: coloured words and sentences; it knows what it draws (`scores`), no record."""
