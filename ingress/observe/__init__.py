"""What an operator can see from outside: health, metrics, the live routes."""
