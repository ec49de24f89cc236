"""From a decorated call to two lines in the spool: decorators, spans, context, values, redaction."""
