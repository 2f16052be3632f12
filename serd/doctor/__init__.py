"""Room of the doctor: looks at everything serd needs, and says what is wrong and what helps."""
