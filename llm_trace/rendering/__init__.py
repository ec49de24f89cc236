"""An attribution for people: coloured words and sentences; it knows what it reads (`scores`) and no record."""
