"""Exact counts of usage events per customer and UTC hour."""
